"""Train a network on two cores, watch it learn, and keep its weights for plain PyTorch."""

import torch
from digits import loaders, network, sample

import stageplan

if __name__ == "__main__":
    torch.manual_seed(0)
    model, (training, validation) = network(), loaders()
    plan = stageplan.plan(stageplan.profile(model, sample(), budget_s=5), stages=2)
    with stageplan.Pipeline(model, plan, update=stageplan.SGD(lr=0.02, momentum=0.9)) as pipeline:
        for epoch in range(5):
            result = pipeline.train(training)
            speed = f"{result.samples_per_s:,.0f} samples/s"
            print(
                f"epoch {epoch + 1}: loss {result.losses[-1]:.3f}, {pipeline.evaluate(validation):.1%} right, {speed}"
            )
    model.load_state_dict(pipeline.state_dict())
    model.eval()
    with torch.inference_mode():
        right = sum(int((model(inputs).argmax(1) == digits).sum()) for inputs, digits in validation)
    print(f"plain PyTorch, with these weights: {right} right")
