_base_ = '../_base_/ssd512_coco.py'
model = dict(padding_cfg=dict(mode='replicate'))
