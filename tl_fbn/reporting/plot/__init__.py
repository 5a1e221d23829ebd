"""Pictures of results: one function for each picture, which returns a plotly ``Figure``.

>>> figure = fbn.plot.unit_map(contrast.z)
>>> figure.layout.title.text
'Every unit of tl_fbn-demo mlp.neurons (3 x 384): z'

Units and layers:

- :func:`unit_map`          the glass brain: the value of every unit, layers from bottom to top;
- :func:`layer_profile`     which share of each layer a network takes, or how large a map is in it.

Recordings, designs and contrasts:

- :func:`massive`           how few units and rows hold the variance, and what zeroing the largest units costs;
- :func:`design_matrix`     what a GLM expects of every row, and which columns it cannot tell apart;
- :func:`design_efficiency` which of several designs shows a contrast best;
- :func:`contrast`          z of every unit with what survives, and its histogram beside that of no effect.

Networks:

- :func:`time_courses`      networks over tokens, with blocks behind them;
- :func:`component_choice`  how many networks to find: variance against chance, stability of each number;
- :func:`stability`         Iq of every network, beside what noise gives;
- :func:`overlap_matrix`    Dice of every two networks, with what chance gives;
- :func:`recurrence`        how often networks come back in single samples, beside shuffled templates;
- :func:`connectivity`      correlations of networks over time, with intervals;
- :func:`confusion_matrix`  which task each run was identified as;
- :func:`concordance`       how far maps of different methods agree;
- :func:`fingerprint`       two models' networks over the same texts, beside mismatched texts;
- :func:`inter_model_correlation`  which networks several models share over the same texts.

Behaviour:

- :func:`lesion_matrix`     drop of each task under each lesion, beside that under matched random lesions;
- :func:`lesion_controls`   each network's own task over the drops under its matched random networks;
- :func:`lesion_map`        which units cost a task more where random lesions hold them;
- :func:`dissociation`      two networks on each other's tasks: crossing lines, or a matrix of all pairs;
- :func:`null_check`        the numbers of an analysis, and where they should be gone;
- :func:`collapse`          what each unit, pair and group costs on neutral text, beside random units;
- :func:`dose_response`     score against dose, with intervals, random networks and the untouched model;
- :func:`amplification`     score against gain, a line for each network;
- :func:`gain_calibration`  the amounts tried, and the chosen one on other items;
- :func:`retention_curve`   what is left when the first networks alone are kept, or are silenced;
- :func:`second_level`      an effect in several models, their mean, and what one more may show;
- :func:`shapley`           how what all networks do for a task is divided among them;
- :func:`prune`             a model before and after pruning;
- :func:`score_validation`  every score of units beside what lesions measure;
- :func:`special_tokens`    which tokens find task neurons: special ones beside as many random ones;
- :func:`token_strip`       the tokens of one text, coloured by kind or by a number.

Papers:

- :func:`paper_claims`      what a paper claims, beside what was found here and a control;
- :func:`paper_table`       one table of its protocol, as a matrix or as curves.

This is ``tl_fbn.plot``. plotly is an optional extra and is imported when the first picture is drawn. The look that all
pictures share is in :mod:`tl_fbn.reporting.plot._theme`. Nothing is computed here that a picture does not need, and
nothing is written to disk: that is done by ``figure.write_html(path)`` or, for all results of a study, by
:mod:`tl_fbn.reporting.page.report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
