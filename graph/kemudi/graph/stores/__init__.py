"""The two places where the graph can live, behind one protocol; the queries are the same files."""
