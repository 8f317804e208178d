"""Train top-down pose estimation: heat maps on any timm backbone × one optimizer × one setting × one seed.

The study's setting on COCO (210 epochs), at 256 × 192 or at 384 × 288::

    accelerate launch recipes/pose.py --config coco/pose_256x192 backbone.name=resnet50 \
        backbone.pretrained=a1_in1k optimizer.name=adam optimizer.lr=1e-3 optimizer.weight_decay=0

A small one on a CPU, for a folder with ``train/`` and ``test/``, each with images and ``annotations.json``::

    accelerate launch recipes/pose.py --config coco/pose_small data.name=scenes task.options.category=star \
        backbone.name=tiny_resnet optimizer.name=adamw optimizer.lr=3e-3

It takes what ``recipes/train.py`` takes (``--dry-run``, ``--reproduce``, several processes) and needs the extra
``detection``. ``docs/detection_and_pose.md`` says how annotations are read and how a checkpoint is loaded.
"""

from bocb_hf.commands.train import main_of_task

if __name__ == "__main__":
    raise SystemExit(main_of_task("pose"))
