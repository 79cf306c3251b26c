"""One file a method: its class is called Method."""
