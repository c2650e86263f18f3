"""How fast it is: training and inference beside the procedure done plainly, what both take with more photos
and pixels, and what one waits for in the app. `plain` is also what exactness is measured against. Only
the command line asks for it.
"""
