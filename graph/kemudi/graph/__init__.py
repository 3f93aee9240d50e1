"""The graph service and the sync service: what Kemudi's settings steer.

Students (`MahasiswaNode`) take (`MENGAMBIL`) classes (`KelasNode`). The sync service copies a relational registry into
the graph; the graph service answers who shares classes with whom, and what to take next.
"""

from kemudi.graph.service import GraphService

__all__ = ["GraphService"]
