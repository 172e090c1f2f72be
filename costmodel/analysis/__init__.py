"""Questions asked of the cost model: bottlenecks, batching, phases, fusion."""
