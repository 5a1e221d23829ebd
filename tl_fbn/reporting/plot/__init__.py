"""Pictures of maps, networks and lesions: one function a picture, each returns a plotly ``Figure``.

- :func:`unit_map`        the glass brain: one heat map a map, layers up, units across;
- :func:`layer_profile`   how much of each layer a network takes, or how large a map is in it;
- :func:`design_matrix`   what a GLM expects of every row, and which columns it cannot tell apart;
- :func:`design_efficiency` which of several designs shows a contrast best;
- :func:`contrast`        z of every unit with what survives, and its histogram beside no effect;
- :func:`time_courses`    networks over tokens, with blocks behind them;
- :func:`component_choice` how many networks: variance against chance, stability of each number;
- :func:`stability`       Iq of every network beside what noise gives;
- :func:`overlap_matrix`  Dice of every two networks, with what chance gives;
- :func:`recurrence`      how often networks come back in single samples, beside shuffled templates;
- :func:`connectivity`    correlations of networks over time, with intervals;
- :func:`confusion_matrix` which task a run was told to be;
- :func:`concordance`     how far maps of different methods agree;
- :func:`lesion_matrix`   source network x target task, beside the same for matched random networks;
- :func:`lesion_controls` each network's own task over the drops under its matched random networks;
- :func:`dissociation`    two networks on each other's tasks: crossing lines, or a matrix of all pairs;
- :func:`dose_response`   behaviour against dose, with intervals, random curves and the untouched model;
- :func:`amplification`   behaviour against gain, one line a network;
- :func:`gain_calibration` the amounts tried, and the chosen one on other items;
- :func:`retention_curve` what is left when the first networks alone are kept, or silenced;
- :func:`prune`           a model before and after pruning;
- :func:`score_validation` every score beside what lesions measure;
- :func:`special_tokens`  which tokens find task neurons, special ones beside as many random ones;
- :func:`token_strip`     the tokens of one text, coloured by kind or by a number;
- :func:`fingerprint`     two models' networks over the same texts, beside mismatched ones.

This is ``tl_fbn.plot``. plotly is an optional extra and is imported when the first picture is drawn. The shared look is
in :mod:`tl_fbn.reporting.plot._theme`. Nothing is computed here that a picture does not need, and nothing is written to disk:
see :mod:`tl_fbn.reporting.page.report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
