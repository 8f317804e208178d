"""Pretrain or fine-tune one classifier: one backbone × one optimizer × one setting × one seed.

From scratch, on the images that come with the package::

    accelerate launch recipes/train.py --config fashion_mnist_subset/demo \
        backbone.name=tiny_resnet optimizer.name=adamw seed=1

Any value of the setting can be overridden; what is unknown or unusable is reported, all at once::

    accelerate launch recipes/train.py --config fashion_mnist_subset/demo \
        backbone.name=tiny_vit optimizer.name=sgdm optimizer.lr=0.03 training.epochs=10

Fine-tune from a timm tag, a Hub id or a local folder::

    accelerate launch recipes/train.py --config fashion_mnist_subset/demo \
        backbone.name=resnet18 backbone.pretrained=a1_in1k optimizer.name=adamw optimizer.lr=3e-4

See what would run, without training (``--dry-run``), or run a stored record again (``--reproduce record.json``).
Two processes on a CPU. Without the variable they would be two lone runs, which is refused; ``--cpu --num_processes 2``
starts only one::

    ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 recipes/train.py --config ...
"""

from bocb_hf.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main())
