"""One file a data set: INFO and load(), and SOURCES where it can be got. folder.py is any folder of one's own."""
