"""Every figure: a function takes plain results, draws, and returns a matplotlib ``Figure``; writing is elsewhere.

Figures are drawn on ``Figure`` objects, never through pyplot, so that nothing global remembers them. Each is as wide as
it is to be printed (a column of 3.3 inches, or a page of 6.9), with text of at least 6 points at that size. Colours are
those of Okabe and Ito or of cividis, and every meaning of a colour is carried by a shape or a word as well.
"""
