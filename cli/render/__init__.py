"""JSON of the API in, text for people out. Pure: no I/O, `now` is an argument; every picture also works without colour,
without Unicode and on a narrow terminal."""
