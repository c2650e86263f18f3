"""Measure speed: training and inference compared with a plain implementation, their cost with more photos and
pixels, and waiting times in the app. `plain` is also the reference for exactness. Only the command line uses
this package.
"""
