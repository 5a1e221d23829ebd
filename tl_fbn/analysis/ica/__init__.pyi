from .find_networks import find_networks as find_networks
from .model_order import ComponentChoice as ComponentChoice
from .model_order import choose_components as choose_components
from .rotated_basis import rotated_basis as rotated_basis
