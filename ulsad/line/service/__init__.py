"""Verdicts over HTTP: another program posts a photo and gets its verdict. No page, no training.

`routes.service` is the application, `judging` judges the photos that are handed in, `upload` receives them
within limits, and `metrics` counts.
"""
