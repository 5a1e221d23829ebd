from . import plot as plot
from .page.report import Report as Report
from .page.section import Section as Section
from .viewer.viewer import Viewer as Viewer
from .viewer.viewer import view as view
