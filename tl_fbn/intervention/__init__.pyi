from . import behaviour as behaviour
from . import hooks as hooks
from . import pruning as pruning
from . import studies as studies
