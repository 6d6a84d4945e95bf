"""Reports to look at: one HTML page that works offline, and figures for papers as SVG.

From Python: `page(read(Path("out")))` is the page of a sweep's folder, `figures(read(Path("out")))` its SVG files by
name. `reading` turns files into a `document.Document`; `fronts`, `grid` and `tree` find in it what figures show;
`interactive` (plotly) and `paper` (matplotlib) draw, as pure functions of these; `page` puts it all together.
"""
