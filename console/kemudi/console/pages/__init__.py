"""The pages, one module each. A page is a function of a request; `frame` gives what all of them have."""
