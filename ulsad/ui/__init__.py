"""The Gradio app: one folder per tab with its Python, scripts and styles; code shared by tabs lies beside
them. No other package imports gradio. Browsers send names, never paths.
"""
