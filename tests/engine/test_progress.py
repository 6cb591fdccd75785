"""What a person sees of an epoch."""

from engine.progress import duration, epoch_line


def test_an_epoch_line_says_what_how_well_how_fast_and_how_long():
    record = {
        "shared/loss": 1.25,
        "shared/top1": 40.0,
        "shared/lr": 0.1,
        "valid/loss": 2.0,
        "valid/top1": 51.5,
        "time/images_per_s": 812.3,
        "time/epoch_s": 60.0,
    }
    line = epoch_line(3, 10, record, 6 * 60.0, "top1", " %")
    assert line == "epoch 3 of 10  shared/loss 1.2500  valid/top1 51.50 %  812 images/s  6 min left"
    shown = [duration(seconds) for seconds in (0, 99, 100, 5940, 6000, 172_799, 200_000)]
    assert shown == ["0 s", "99 s", "2 min", "99 min", "1 h 40 min", "2 d 00 h", "2 d 07 h"]
