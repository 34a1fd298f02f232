"""One probe trained by itself with torch's own modules: the reference that batched training must agree with."""

import copy

import numpy as np
import torch
from torch import nn

from chiasm.measures.probes.kinds import Probe
from chiasm.measures.probes.training import FeatureSet, Fitted, Labels, initial, order, shuffled, standardised


def train_alone(
    probe: Probe,
    features: FeatureSet,
    labels: Labels,
    seed: int,
    *,
    shuffle: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Fitted:
    """Train one probe in a plain loop. Same initial weights, batches and stopping as in `train_probes`."""
    shown = standardised(features, np.float64 if dtype == torch.float64 else np.float32)
    train, judging, test = (
        torch.from_numpy(part)
        for part in (shown.train, shown.validation if len(shown.validation) else shown.train, shown.test)
    )
    truth, judged = labels.train, labels.validation if len(shown.validation) else labels.train
    if shuffle:
        truth = shuffled(truth, seed)
        judged = shuffled(judged, seed)
    layers: list[nn.Module] = []
    for weight, bias in initial(probe, features.width, labels.classes, seed):
        layer = nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = weight.T.contiguous().to(dtype), bias.to(dtype)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    adam, loss_of = torch.optim.Adam(model.parameters(), lr=probe.rate), nn.CrossEntropyLoss()
    lowest, best, at = float("inf"), model.state_dict(), 0
    for epoch in range(probe.epochs):
        places = order(epoch, len(train))
        for start in range(0, len(train), probe.batch):
            chosen = places[start : start + probe.batch]
            adam.zero_grad()
            loss_of(model(train[chosen]), truth[chosen]).backward()
            adam.step()
        if not probe.patience:
            continue
        with torch.no_grad():
            loss = float(loss_of(model(judging), judged))
        if loss < lowest:
            lowest, best, at = loss, copy.deepcopy(model.state_dict()), epoch + 1
        elif epoch + 1 - at >= probe.patience:
            break
    if probe.patience:
        model.load_state_dict(best)
    with torch.no_grad():
        logprobs = model(test).log_softmax(-1).numpy()
    return Fitted(logprobs, at if probe.patience else probe.epochs)
