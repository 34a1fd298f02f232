"""What must happen before any test imports transformers."""

from tests.support import torchvision_shim

torchvision_shim.install()
