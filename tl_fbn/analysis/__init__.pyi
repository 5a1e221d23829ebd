from . import glm as glm
from . import ica as ica
from . import networks as networks
