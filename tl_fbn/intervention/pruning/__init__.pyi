from .checkpoint import load_pruned as load_pruned
from .finetuning import only_network as only_network
from .prune import prune as prune
from .prune_ratio import keep_for_ratio as keep_for_ratio
from .prune_report import PruneReport as PruneReport
