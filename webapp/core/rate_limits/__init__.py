"""Rate limits and quotas.

* `limits`: `RateLimits`, every limit of one application
* `storage`: `WindowCounters`, which counts in memory or Redis
"""
