"""Laws that a model must obey before its numbers mean anything: `chiasm check MODEL`.

Every law is measured on images, clips or sounds of noise and questions of different length, so it needs no data, no
trained weights and no knowledge of the model. The table of results has a reason for each "no".
"""

from chiasm.models.conformance.suite import LAWS, check
from chiasm.models.conformance.trial import Law
