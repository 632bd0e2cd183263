_base_ = '../_base_/ssd128_traffic-light-study.py'
model = dict(padding_cfg=dict(mode='reflect'))
