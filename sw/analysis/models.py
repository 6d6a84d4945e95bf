"""Networks by name."""

from celosia.sw.analysis.resnet import ResNet50
from celosia.sw.analysis.transformer import Transformer

Network = Transformer | ResNet50

MODELS: dict[str, Network] = {
    network.name: network
    for network in (
        Transformer(name="minilm", layers=6, hidden=384, heads=12, ffn=1536),
        Transformer(name="bert-base", layers=12, hidden=768, heads=12, ffn=3072),
        Transformer(name="bert-large", layers=24, hidden=1024, heads=16, ffn=4096),
        # The figures of the survey agree with this d_ffn only; its text says 4096.
        Transformer(name="bert-large-3584", layers=24, hidden=1024, heads=16, ffn=3584),
        Transformer(name="gpt2", layers=12, hidden=768, heads=12, ffn=3072, decoder=True),
        ResNet50(),
        ResNet50(name="resnet50-v1", late_stride=False),
    )
}

SURVEY_RESNET = ResNet50(name="resnet50-v1 less one block", late_stride=False, blocks=(2, 4, 6, 3))
"""What tables 4 and 12 seem to have counted: the first published strides, one identity block of the first stage less.

A guess by fit: with all 53 convolutions the FLOPs are 6 % more than printed, and no more natural count comes near.
"""
