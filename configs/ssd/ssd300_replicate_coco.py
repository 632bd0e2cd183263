_base_ = '../_base_/ssd300_coco.py'
model = dict(padding_cfg=dict(mode='replicate'))
