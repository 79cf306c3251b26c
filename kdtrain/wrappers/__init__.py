"""One file a wrapper: its class is called Wrapper."""
