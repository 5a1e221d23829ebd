from tl_fbn.papers.s0_settings import canica as canica
from tl_fbn.papers.s0_settings import fingerprint as fingerprint
from tl_fbn.papers.s0_settings import pruning as pruning
from tl_fbn.papers.s0_settings import settings as settings
