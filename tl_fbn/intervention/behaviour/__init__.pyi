from . import parsers as parsers
from .battery import Battery as Battery
from .free_responses import Responses as Responses
from .free_responses import judge as judge
from .lm_eval import HarnessEvaluation as HarnessEvaluation
from .lm_eval import evaluate_harness as evaluate_harness
from .output_checks import monitor as monitor
from .task_set import Tasks as Tasks
