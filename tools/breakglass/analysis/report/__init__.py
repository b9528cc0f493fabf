"""Pages about what an emergency opens, for people and for programs. Pure: data in, text out."""
