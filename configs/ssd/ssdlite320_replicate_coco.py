_base_ = '../_base_/ssdlite320_coco.py'
model = dict(padding_cfg=dict(mode='replicate'))
