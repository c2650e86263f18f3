"""Faster code with the same results: convolutions by matrix products and by tiles, recorded steps on a GPU,
several threads and processes, rows of data in memory or in mapped files. `ulsad.method` can be read without
it. Nothing here is about anomalies.
"""
