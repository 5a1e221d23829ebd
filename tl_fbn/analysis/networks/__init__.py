"""What is done with networks once they are found: compared, matched, counted, followed over time, used to tell tasks.

- Two networks or atlases: ``overlap``, ``match_networks``, ``conjunction``, ``concordance`` (of several methods).
- Networks in new data: ``dual_regression``, ``recurrence``, ``time_courses``, ``connectivity``,
  ``followed_conditions``.
- What units write: ``promoted_tokens``.
- Networks of several tasks: ``specific_scores``, ``task_unique``, ``shared_core``, ``multiplicity``, ``identify_task``,
  ``reliability``.
- Networks of two models: ``fingerprint``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
