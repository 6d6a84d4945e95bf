"""The published model, briefly: it loads, means what it should, and survives quantisation."""

from celosia.sw.model import calibrate, embed, embed_golden, load_model, quantise
from celosia.sw.model.sentences import SENTENCES

TEXT = [
    "A man is playing a guitar.",
    "Someone plays the guitar.",
    "The stock market fell sharply on Monday.",
    "Shares dropped at the start of the week.",
]


def test_minilm_end_to_end() -> None:
    model = load_model("all-MiniLM-L6-v2")
    assert (model.config.layers, model.config.hidden, model.config.heads, model.config.ffn) == (6, 384, 12, 1536)
    ids = model.tokenize(TEXT)
    assert ids[0] == [101, 1037, 2158, 2003, 2652, 1037, 2858, 1012, 102], "the published vocabulary, no padding"
    quantised = quantise(model, calibrate(model, model.tokenize(list(SENTENCES[::4]))))
    exact, found = embed(model, ids), embed_golden(model, quantised, ids)
    for embeddings in (exact, found):
        similarity = embeddings @ embeddings.T
        assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max() + 0.3, "paraphrases are neighbours"
    assert (exact * found).sum(axis=1).min() > 0.985
