"""What the machine must offer: Java, jars, the small model, disk; found, prepared and checked here.

Import the module that is needed (``home``, ``jars``, ``model``, ``checks``, ``doctor``): this package loads nothing.
"""
