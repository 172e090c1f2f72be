"""Binary labelling of least cost by minimum cuts (Dinic's algorithm on small sparse networks)."""

from __future__ import annotations

from collections import deque

INFINITE = 1 << 62
SOURCE, SINK = 0, 1


class Network:
    """A capacitated network with a source (label 0) and a sink (label 1).

    The cost of a labelling is the capacity of the edges from vertices labelled 0 to vertices labelled 1.
    """

    def __init__(self) -> None:
        self.heads: list[list[int]] = [[], []]
        self.target: list[int] = []
        self.capacity: list[int] = []

    def vertex(self) -> int:
        """A new vertex."""
        self.heads.append([])
        return len(self.heads) - 1

    def edge(self, start: int, end: int, capacity: int) -> None:
        """Make it cost ``capacity`` to label ``start`` 0 and ``end`` 1."""
        if capacity <= 0 or start == end:
            return
        self.heads[start].append(len(self.target))
        self.target.append(end)
        self.capacity.append(capacity)
        self.heads[end].append(len(self.target))
        self.target.append(start)
        self.capacity.append(0)

    def solve(self) -> list[int]:
        """A labelling of least cost (0 or 1 for each vertex); of several, one with as few ones as possible."""
        while True:
            level = self._levels()
            if level[SINK] < 0:
                return self._labels()
            places = [0] * len(self.heads)
            while self._augment(level, places):
                pass

    def _levels(self) -> list[int]:
        level = [-1] * len(self.heads)
        level[SOURCE] = 0
        queue = deque([SOURCE])
        while queue and level[SINK] < 0:
            vertex = queue.popleft()
            for edge in self.heads[vertex]:
                end = self.target[edge]
                if self.capacity[edge] and level[end] < 0:
                    level[end] = level[vertex] + 1
                    queue.append(end)
        return level

    def _augment(self, level: list[int], places: list[int]) -> bool:
        """Push flow along one shortest path; False when there is none left at this depth."""
        path: list[int] = []
        vertex = SOURCE
        while vertex != SINK:
            edges, place = self.heads[vertex], places[vertex]
            while place < len(edges):
                edge = edges[place]
                if self.capacity[edge] and level[self.target[edge]] == level[vertex] + 1:
                    break
                place += 1
            places[vertex] = place
            if place < len(edges):
                path.append(edges[place])
                vertex = self.target[edges[place]]
            elif path:
                vertex = self.target[path.pop() ^ 1]
                places[vertex] += 1
            else:
                return False
        flow = min(self.capacity[edge] for edge in path)
        for edge in path:
            self.capacity[edge] -= flow
            self.capacity[edge ^ 1] += flow
        return True

    def _labels(self) -> list[int]:
        """Ones exactly where the sink can be reached: the smallest side of a least cut."""
        labels = [0] * len(self.heads)
        labels[SINK] = 1
        queue = deque([SINK])
        while queue:
            vertex = queue.popleft()
            for edge in self.heads[vertex]:
                start = self.target[edge]
                if self.capacity[edge ^ 1] and not labels[start]:
                    labels[start] = 1
                    queue.append(start)
        return labels
