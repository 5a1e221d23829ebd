from .intervention import Intervention as Intervention
from .interventions import amplify as amplify
from .interventions import clamp as clamp
from .interventions import inhibit as inhibit
from .interventions import retain as retain
