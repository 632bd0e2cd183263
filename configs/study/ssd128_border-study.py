# The detector of the border study: that of the other studies without the level of stride 4, whose anchors
# are smaller than the lights of 20 to 32 px. It trains in half the time. The study sets the mode.
_base_ = '../_base_/ssd128_traffic-light-study.py'

model = dict(
    backbone=dict(out_indices=(1, 2, 3)),
    neck=dict(in_channels=(32, 64, 128), out_channels=(32, 64, 128, 128)),
    bbox_head=dict(
        in_channels=(32, 64, 128, 128),
        anchor_generator=dict(
            strides=[8, 16, 32, 64],
            ratios=[[2]] * 4,
            min_sizes=[10, 17, 28, 50],
            max_sizes=[17, 28, 50, 80],
        ),
    ),
    padding_cfg=dict(mode='zeros'),
    # Enough for one light among look-alikes; with more, NMS would take most of a measurement's time.
    test_cfg=dict(nms_pre=100, score_thr=0.05, max_per_img=50),
)
optim_wrapper = dict(optimizer=dict(fused=True))
