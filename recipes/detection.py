"""Train a detector: RetinaNet on any timm backbone × one optimizer × one setting × one seed.

The study's setting on COCO (12 epochs of batch 16, short side 800, long side at most 1333)::

    accelerate launch recipes/detection.py --config coco/retinanet backbone.name=resnet50 \
        backbone.pretrained=a1_in1k optimizer.name=sgdm optimizer.lr=0.01 optimizer.weight_decay=1e-4

A small one on a CPU, for a folder with ``train/`` and ``test/``, each with images and ``annotations.json``::

    accelerate launch recipes/detection.py --config coco/retinanet_small data.name=tiles \
        backbone.name=tiny_resnet optimizer.name=adamw optimizer.lr=1e-3

It takes what ``recipes/train.py`` takes (``--dry-run``, ``--reproduce``, several processes) and needs the extra
``detection``. ``docs/detection_and_pose.md`` says how annotations are read and how a checkpoint is loaded.
"""

from bocb_hf.commands.train import main_of_task

if __name__ == "__main__":
    raise SystemExit(main_of_task("detection"))
