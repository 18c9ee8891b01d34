use super::*;

fn ms(milliseconds: f64) -> FrameInterval {
    milliseconds.try_into().unwrap()
}

/// Frames that follow each other after these milliseconds.
fn times(steps: impl IntoIterator<Item = f64>) -> FrameTimes {
    let mut at = 0.0;
    let later = steps.into_iter().map(|step| {
        at += step / 1e3;
        at
    });
    FrameTimes::new(std::iter::once(0.0).chain(later).collect::<Vec<_>>())
}

fn even(times: &FrameTimes) -> f64 {
    let Some(Rhythm::Even(interval)) = times.rhythm() else { panic!("{:?}", times.rhythm()) };
    interval.milliseconds()
}

fn wanted(interval: f64) -> Clock {
    Clock { untimed: None, wanted: Wanted::At(ms(interval)) }
}

#[test]
fn an_even_video_has_its_interval_and_all_its_frames() {
    assert_eq!(even(&times([40.0; 100])), 40.0);
    // Milliseconds of a container at 30 000 / 1001 frames a second, a camera's jitter, a lost frame.
    let rounded = FrameTimes::new((0..300).map(|at| (f64::from(at) * 1001.0 / 30.0).round() / 1e3));
    assert!((even(&rounded) - 1001.0 / 30.0).abs() < 0.02, "{}", even(&rounded));
    assert_eq!(even(&times([25.0, 55.0].repeat(50))), 40.0);
    let lost = (0..200).map(|at| if at == 77 { 400.0 } else { 40.0 });
    assert_eq!(even(&times(lost)), 40.0);
    // Frames are stored as they are decoded.
    assert_eq!(even(&FrameTimes::new([0.0, 0.3, 0.1, 0.2, 0.4])), 100.0);
    let pace = Pace::timed(&times([40.0; 100]), Clock::default()).unwrap();
    assert_eq!(pace, Pace { interval: Some(ms(40.0)), ..Pace::default() });
}

#[test]
fn an_even_video_is_thinned_by_whole_frames() {
    let of = |step: f64, model: f64| Pace::timed(&times(vec![step; 30]), wanted(model));
    let pace = of(40.0, 80.0).unwrap();
    assert_eq!(pace.interval, Some(ms(80.0)));
    assert_eq!(pace.thinning.of(&[0, 1, 2, 3, 4]), [0, 2, 4]);
    // 25 a second at 10: every third, 120 ms, is as even as the model needs it.
    let pace = of(40.0, 100.0).unwrap();
    assert_eq!((pace.interval, pace.thinning), (Some(ms(120.0)), Thinning::every(3)));
    let pace = of(90.0, 100.0).unwrap();
    assert_eq!((pace.interval, pace.thinning), (Some(ms(90.0)), Thinning::All));
    let error = of(250.0, 100.0).unwrap_err().to_string();
    assert!(error.contains("250.0 ms") && error.contains("100.0 ms"), "{error}");
}

#[test]
fn an_uneven_video_is_laid_on_a_grid() {
    // Two seconds at 25 frames a second, two at 10.
    let night = times([40.0; 50].into_iter().chain([100.0; 20]));
    assert_eq!(night.rhythm(), Some(Rhythm::Uneven { slowest: ms(100.0) }));
    assert_eq!(Pace::timed(&night, Clock::default()), Ok(Pace::default()));
    let clock = Clock { untimed: None, wanted: Wanted::Even };
    let by_itself = Pace::timed(&night, clock).unwrap();
    assert_eq!(by_itself, Pace::timed(&night, wanted(100.0)).unwrap());
    assert_eq!(by_itself.interval, Some(ms(100.0)));
    let at: Vec<usize> = (0..71).filter(|&frame| by_itself.thinning.takes(frame)).collect();
    assert_eq!(at[..6], [0, 2, 5, 7, 10, 12]);
    assert_eq!(at[20..], (50..71).collect::<Vec<_>>());
    assert!(!by_itself.thinning.takes(71));
    // What its slow half cannot give is refused; a slower model takes fewer.
    assert!(Pace::timed(&night, wanted(40.0)).is_err());
    let slow = Pace::timed(&night, wanted(200.0)).unwrap();
    assert_eq!(slow.thinning.of(&[(); 71]).len(), 21);
}

#[test]
fn without_time_stamps_the_clock_decides() {
    for still in [times([]), FrameTimes::default(), times([0.0; 9])] {
        assert_eq!(still.rhythm(), None);
        assert_eq!(Pace::timed(&still, wanted(40.0)), Ok(Pace::default()));
        let clock = Clock { untimed: Some(ms(20.0)), ..wanted(40.0) };
        let pace = Pace::timed(&still, clock).unwrap();
        assert_eq!((pace.interval, pace.thinning), (Some(ms(40.0)), Thinning::every(2)));
    }
}

#[test]
fn intervals_are_told_for_people() {
    assert_eq!(apart(ms(100.0)), "100 ms apart (10 a second)");
    assert_eq!(apart(ms(1001.0 / 30.0)), "33.37 ms apart (29.97 a second)");
    assert_eq!(parse_rate("25"), Ok(ms(40.0)));
    for wrong in ["0", "-1", "1001", "fast", "NaN"] {
        assert!(parse_rate(wrong).is_err(), "{wrong}");
    }
}
