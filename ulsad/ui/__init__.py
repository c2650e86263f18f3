"""The Gradio app: a folder a tab, each with its Python, scripts and styles, and what the tabs share beside
them. It is the only room that knows gradio. What comes from a browser is a name, never a path.
"""
