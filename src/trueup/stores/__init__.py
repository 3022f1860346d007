"""One file per scheme or family of places that hold items."""
