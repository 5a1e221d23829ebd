from . import s0 as s0
from . import s1 as s1
from . import s2 as s2
from .paper_plan import PaperPlan as PaperPlan
from .paper_study import PaperStudy as PaperStudy
from .preset import Preset as Preset
