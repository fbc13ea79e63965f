"""The conformance kit for plug-in authors, and doubles for tests.

Six lines check an operation of your own::

    from etlctl.testing import check_operation
    from my_package.transforms.shout import Shout


    def test_shout() -> None:
        check_operation(Shout)

``check_extractor_class`` and ``check_loader_class`` do the same by the examples of the class; ``check_extractor`` and
``check_loader`` check one with its options on a real source or destination.
"""

from etlctl.testing.component import check_component
from etlctl.testing.doubles import MemoryExtractor, MemoryLoader
from etlctl.testing.examples import EXAMPLE_NOW
from etlctl.testing.extractor import Reading, check_extractor, check_extractor_class, read_all
from etlctl.testing.findings import ConformanceError
from etlctl.testing.loader import SAMPLE, check_loader, check_loader_class
from etlctl.testing.operation import Outcome, check_operation, check_operation_on, run_rows

__all__ = [
    "EXAMPLE_NOW",
    "SAMPLE",
    "ConformanceError",
    "MemoryExtractor",
    "MemoryLoader",
    "Outcome",
    "Reading",
    "check_component",
    "check_extractor",
    "check_extractor_class",
    "check_loader",
    "check_loader_class",
    "check_operation",
    "check_operation_on",
    "read_all",
    "run_rows",
]
