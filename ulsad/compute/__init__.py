"""What makes it fast, and changes no number: convolutions by matrix products and by parts, work on a GPU,
several threads and processes, rows of data in memory or in mapped files. The method stands a floor above
and reads without it. Nothing here knows what an anomaly is.
"""
