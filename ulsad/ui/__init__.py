"""The Gradio app: one file a tab. Nothing else in the package imports gradio."""
