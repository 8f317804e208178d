"""Engine: trains, evaluates and repeats one run, in the only loop; may import ``tasks`` and what lies below it.

It needs the extra ``train``.
"""
